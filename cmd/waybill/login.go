package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/waybill-dev/waybill/internal/api/apiclient"
	"github.com/waybill-dev/waybill/internal/api/wire"
)

// loginTimeout bounds the wait for a person to finish in the browser.
const loginTimeout = 10 * time.Minute

func newLoginCommand(a *app) *cobra.Command {
	var issuer string
	cmd := &cobra.Command{
		Use: "login", Short: "Log in with a browser (OAuth 2.0 device flow)", Args: cobra.NoArgs,
		Long: "Asks the gateway which identity provider to use, shows a code to confirm there in a browser (on any device), " +
			"and keeps the token under $WAYBILL_HOME, or the user's configuration directory.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), loginTimeout)
			defer cancel()
			return a.login(ctx, issuer)
		},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "which issuer to log in at, if the gateway accepts several")
	return cmd
}

func (a *app) login(ctx context.Context, issuer string) error {
	s, err := openStore()
	if err != nil {
		return err
	}
	gateway := a.gatewayURL(s)
	c, err := apiclient.New(gateway, version(), nil)
	if err != nil {
		return failed(exitUsage, err)
	}
	offered, err := c.Login(ctx)
	if err != nil {
		return err
	}
	at, err := chooseIssuer(offered, issuer)
	if err != nil {
		return failed(exitUsage, err)
	}
	l, err := a.deviceFlow(ctx, at)
	if err != nil {
		return failed(exitAuth, err)
	}
	s.Current, s.Logins[gateway] = gateway, l
	if err := s.save(); err != nil {
		return err
	}
	return a.whoami(ctx)
}

func chooseIssuer(offered wire.Login, wanted string) (wire.LoginIssuer, error) {
	var urls []string
	for _, i := range offered.Issuers {
		if i.URL == wanted || wanted == "" && len(offered.Issuers) == 1 {
			return i, nil
		}
		urls = append(urls, i.URL)
	}
	if wanted == "" {
		return wire.LoginIssuer{}, fmt.Errorf("the gateway accepts several issuers; choose one with --issuer: %s", strings.Join(urls, ", "))
	}
	return wire.LoginIssuer{}, fmt.Errorf("the gateway does not accept issuer %q; it accepts: %s", wanted, strings.Join(urls, ", "))
}

// deviceFlow has the person confirm a code in a browser and waits for it.
func (a *app) deviceFlow(ctx context.Context, at wire.LoginIssuer) (login, error) {
	provider, err := oidc.NewProvider(ctx, at.URL)
	if err != nil {
		return login{}, fmt.Errorf("identity provider %s: %w", at.URL, err)
	}
	endpoint := provider.Endpoint()
	if endpoint.DeviceAuthURL == "" {
		return login{}, fmt.Errorf("identity provider %s offers no device flow; get a token in another way and give it as WAYBILL_TOKEN", at.URL)
	}
	// A public client sends its id in the body; probing for the style would
	// spend the code of some providers.
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	config := oauth2.Config{ClientID: at.ClientID, Endpoint: endpoint, Scopes: at.Scopes}
	device, err := config.DeviceAuth(ctx, oauth2.SetAuthURLParam("audience", at.Audience))
	if err != nil {
		return login{}, fmt.Errorf("begin the login at %s: %w", at.URL, err)
	}
	if device.VerificationURIComplete != "" {
		fmt.Fprintf(a.errs, "Open %s\nand confirm the code %s\n", clean(device.VerificationURIComplete), clean(device.UserCode))
	} else {
		fmt.Fprintf(a.errs, "Open %s\nand enter the code %s\n", clean(device.VerificationURI), clean(device.UserCode))
	}
	token, err := config.DeviceAccessToken(ctx, device)
	var refusal *oauth2.RetrieveError
	switch {
	case errors.As(err, &refusal) && refusal.ErrorCode == "access_denied":
		return login{}, errors.New("the login was denied in the browser")
	case err != nil:
		return login{}, fmt.Errorf("login at %s: %w", at.URL, err)
	}
	return login{Issuer: at.URL, ClientID: at.ClientID, TokenURL: endpoint.TokenURL, Token: token}, nil
}

func newLogoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the login at the gateway", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := openStore()
			if err != nil {
				return err
			}
			gateway := a.gatewayURL(s)
			if _, ok := s.Logins[gateway]; !ok {
				fmt.Fprintln(a.errs, "not logged in at", gateway)
				return nil
			}
			delete(s.Logins, gateway)
			if s.Current == gateway {
				s.Current = ""
			}
			if err := s.save(); err != nil {
				return err
			}
			fmt.Fprintln(a.errs, "logged out of", gateway)
			return nil
		},
	}
}

func newWhoamiCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who the gateway takes you for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.whoami(cmd.Context()) },
	}
}

func (a *app) whoami(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	who, err := c.Whoami(ctx)
	if err != nil {
		return err
	}
	return a.print(who, func(w io.Writer) {
		s := who.Subject
		groups := slices.Sorted(slices.Values(s.Groups))
		fmt.Fprintf(w, "%s (%s at %s)\ngroups: %s\n", clean(s.Display()), clean(s.ID), clean(s.Issuer), clean(strings.Join(groups, ", ")))
	})
}
