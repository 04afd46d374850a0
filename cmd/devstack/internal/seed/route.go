package seed

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// AwaitRoute waits until the environment's route is answered by its pods. The
// ingress takes up a new route a moment before it knows the pods behind it.
func AwaitRoute(ctx context.Context, ingress string, e Environment) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	for {
		err := pay(ctx, client, ingress, e.Host)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the route of %s is not answered: %w", e.Host, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// pay sends one payment.
func pay(ctx context.Context, client *http.Client, ingress, host string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, ingress+"/authorise", strings.NewReader(`{"amount": 1}`))
	if err != nil {
		return err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}
