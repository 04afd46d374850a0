package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/registry"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/internal/slackemu"
)

func newServeRegistryCommand() *cobra.Command {
	var listen, dir string
	cmd := &cobra.Command{
		Use: "registry", Short: "Run the image registry", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := registry.Open(dir)
			if err != nil {
				return err
			}
			return errors.Join(serveHTTP(cmd.Context(), listen, r), r.Close())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5000", "address to serve")
	cmd.Flags().StringVar(&dir, "dir", "", "folder of the images")
	return cmd
}

func newServeIssuerCommand() *cobra.Command {
	var listen, secrets string
	cmd := &cobra.Command{
		Use: "issuer", Short: "Run the OIDC issuer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kept, err := oidcissuer.LoadSecrets(secrets)
			if err != nil {
				return err
			}
			issuer, err := oidcissuer.StartWith(oidcissuer.Config{Addr: listen, Secrets: kept})
			if err != nil {
				return err
			}
			stop := context.AfterFunc(cmd.Context(), func() { _ = issuer.Close() })
			defer stop()
			return issuer.Wait()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5556", "address to serve")
	cmd.Flags().StringVar(&secrets, "secrets", "", "file of the accounts' passwords and the signing key, made if missing")
	return cmd
}

func newServeSlackCommand() *cobra.Command {
	var listen, gateway, file, botToken, appToken, signingSecret string
	cmd := &cobra.Command{
		Use: "slack", Short: "Run the Slack emulator", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := slackemu.Options{
				URL: "http://" + listen, Interactions: gateway + "/slack/interactions", Commands: gateway + "/slack/commands", File: file,
				Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			}
			for path, into := range map[string]*string{botToken: &o.BotToken, appToken: &o.AppToken, signingSecret: &o.SigningSecret} {
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				*into = strings.TrimSpace(string(text))
			}
			workspace, err := slackemu.New(o)
			if err != nil {
				return err
			}
			return errors.Join(serveHTTP(cmd.Context(), listen, workspace), workspace.Close())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address to serve")
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of the gateway, which is called back")
	cmd.Flags().StringVar(&file, "file", "", "file that keeps the messages")
	cmd.Flags().StringVar(&botToken, "bot-token", "", "file of the app's bot token")
	cmd.Flags().StringVar(&appToken, "app-token", "", "file of the app's app-level token, for Socket Mode")
	cmd.Flags().StringVar(&signingSecret, "signing-secret", "", "file of the secret that callbacks are signed with")
	return cmd
}

// newForwardCommand makes a port of loopback reachable at another address of
// this machine, which may come up later: the cluster's end of its cable.
func newForwardCommand() *cobra.Command {
	var listen, to string
	cmd := &cobra.Command{
		Use: "forward", Short: "Forward TCP connections", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return forward(cmd.Context(), listen, to) },
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address to accept connections on")
	cmd.Flags().StringVar(&to, "to", "", "address to forward them to")
	return cmd
}

func forward(ctx context.Context, listen, to string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		from, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go relay(ctx, from, to)
	}
}

// relay copies both ways until both sides have said all they had to say.
func relay(ctx context.Context, from net.Conn, to string) {
	defer func() { _ = from.Close() }()
	target, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", to)
	if err != nil {
		slog.Warn("connection not forwarded", "to", to, "error", err)
		return
	}
	defer func() { _ = target.Close() }()
	var both sync.WaitGroup
	way := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		if half, ok := dst.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}
	both.Go(func() { way(target, from) })
	both.Go(func() { way(from, target) })
	both.Wait()
}
