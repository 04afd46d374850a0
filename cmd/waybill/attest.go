package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	// The providers that cosign knows, each under its own URI scheme.
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"

	"github.com/waybill-dev/waybill/internal/attest"
)

func newAttestCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "attest", Short: "Say in CI who made a change and which tests passed", Args: cobra.NoArgs,
		Long: "Makes the attestations that tier 2 wants of an image. With --image and --key they are signed and\n" +
			"attached to it, as cosign attest does; without, the predicate is printed, for cosign attest\n" +
			"--predicate. docs/attest.md has a workflow for GitHub Actions.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAttestSourceCommand(a), newAttestTestsCommand(a), newAttestAuthorsCommand(a))
	return cmd
}

// signing are the flags that say where an attestation goes.
type signing struct {
	image     string
	key       string
	plainHTTP bool
	legacy    bool
}

func (s *signing) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.image, "image", "", "attach the attestation to this image, repository@sha256:<hex>; without, the predicate is printed")
	f.StringVar(&s.key, "key", "", "sign by this key: a file by cosign generate-key-pair, env://NAME, or a KMS URI (awskms://, azurekms://, gcpkms://, hashivault://); password in $COSIGN_PASSWORD")
	f.BoolVar(&s.plainHTTP, "allow-http-registry", false, "speak to the registry without TLS")
	f.BoolVar(&s.legacy, "legacy", false, "store it under cosign's tag (.att) instead of as a Sigstore bundle")
}

// deliver attaches the predicate to the image, or prints it if there is none to
// attach it to.
func (a *app) deliver(ctx context.Context, s signing, predicateType string, predicate any, summary string) error {
	if (s.image == "") != (s.key == "") {
		return failed(exitUsage, errors.New("--image and --key are needed both: which image, and by which key; leave both out to print the predicate"))
	}
	if s.image == "" {
		return a.printPredicate(predicate)
	}
	image, err := attest.ParseImage(s.image, s.plainHTTP, s.legacy)
	if err != nil {
		return failed(exitUsage, err)
	}
	key, err := attest.OpenKey(ctx, s.key)
	if err != nil {
		return failed(exitUsage, err)
	}
	if err := image.Attest(ctx, key, predicateType, predicate); err != nil {
		return err
	}
	if a.output == outputJSON {
		return a.printPredicate(predicate)
	}
	_, err = fmt.Fprintf(a.out, "attested %s of %s\n", summary, s.image)
	return err
}

func (a *app) printPredicate(predicate any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(predicate); err != nil {
		return fmt.Errorf("write the predicate: %w", err)
	}
	return nil
}

// gitHubRepository is the repository's URL where a workflow of GitHub Actions
// runs, else "".
func gitHubRepository() string {
	server, repository := os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY")
	if server == "" || repository == "" {
		return ""
	}
	return server + "/" + repository
}
