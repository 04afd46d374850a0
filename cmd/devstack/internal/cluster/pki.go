package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

// certificateLife is longer than any local stack lives.
const certificateLife = 30 * 24 * time.Hour

// authority issues the certificates of one cluster into one folder. Its own
// key is never written.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// keyPair names the files of an issued certificate.
type keyPair struct{ cert, key string }

// newAuthority makes a certificate authority and writes its certificate to
// dir/<name>.crt.
func newAuthority(dir, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of authority %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of authority %s: %w", name, err)
	}
	a := &authority{dir: dir, cert: cert, key: key}
	return a, writePEM(a.file(), "CERTIFICATE", der, 0o644)
}

// file is the authority's certificate.
func (a *authority) file() string { return filepath.Join(a.dir, a.cert.Subject.CommonName+".crt") }

// issue writes dir/<name>.crt and .key: for a client by its user name and
// groups, for a server by the hosts that it answers for.
func (a *authority) issue(name string, subject pkix.Name, hosts ...string) (keyPair, error) {
	files := keyPair{cert: filepath.Join(a.dir, name+".crt"), key: filepath.Join(a.dir, name+".key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, fmt.Errorf("make the key of %s: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return files, fmt.Errorf("make the serial number of %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return files, fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	if err := writePEM(files.cert, "CERTIFICATE", der, 0o644); err != nil {
		return files, err
	}
	return files, writeKey(files.key, key)
}

// serviceAccountKeys writes the pair that signs service account tokens.
func serviceAccountKeys(dir string) (keyPair, error) {
	files := keyPair{cert: filepath.Join(dir, "service-account.pub"), key: filepath.Join(dir, "service-account.key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, fmt.Errorf("make the service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return files, fmt.Errorf("write the service account key: %w", err)
	}
	if err := writePEM(files.cert, "PUBLIC KEY", public, 0o644); err != nil {
		return files, err
	}
	return files, writeKey(files.key, key)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return writePEM(file, "PRIVATE KEY", der, 0o600)
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// kubeconfig issues a client certificate and writes a kubeconfig that holds
// it, so that the file works wherever it is copied.
func (a *authority) kubeconfig(file, server string, subject pkix.Name) error {
	pair, err := a.issue(filepath.Base(file), subject)
	if err != nil {
		return err
	}
	var contents [3][]byte
	for i, name := range []string{a.file(), pair.cert, pair.key} {
		if contents[i], err = os.ReadFile(name); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	config := api.NewConfig()
	config.Clusters["waybill"] = &api.Cluster{Server: server, CertificateAuthorityData: contents[0]}
	config.AuthInfos[subject.CommonName] = &api.AuthInfo{ClientCertificateData: contents[1], ClientKeyData: contents[2]}
	config.Contexts["waybill"] = &api.Context{Cluster: "waybill", AuthInfo: subject.CommonName}
	config.CurrentContext = "waybill"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
