package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// config is what an image or a pod sets in the environment.
type config struct {
	// Listen (LISTEN) is the address for all traffic, metrics included.
	Listen string
	// Version (VERSION) labels metrics and answers.
	Version string
	// ErrorRatio (ERROR_RATIO) is the share of authorisations answered with 500.
	ErrorRatio float64
	// Latency (LATENCY) is the median time that an authorisation takes.
	Latency time.Duration
	// Workers (WORKERS) is how many authorisations run at once; more wait.
	Workers int
	// Drain (DRAIN) is how long requests are still answered after SIGTERM.
	Drain time.Duration
}

// configFrom reads the environment and lists every value that is out of form.
func configFrom(getenv func(string) string) (config, error) {
	cfg := config{Listen: ":8080", Version: "dev", Latency: 4 * time.Millisecond, Workers: 64, Drain: 3 * time.Second}
	var faults []error
	read := func(name, want string, parse func(string) error) {
		text := getenv(name)
		if text == "" {
			return
		}
		if err := parse(text); err != nil {
			faults = append(faults, fmt.Errorf("%s=%q: want %s", name, text, want))
		}
	}
	duration := func(into *time.Duration) func(string) error {
		return func(text string) (err error) {
			if *into, err = time.ParseDuration(text); err == nil && *into < 0 {
				err = errors.New("negative")
			}
			return err
		}
	}
	read("LISTEN", "an address", func(text string) error { cfg.Listen = text; return nil })
	read("VERSION", "a name", func(text string) error { cfg.Version = text; return nil })
	read("ERROR_RATIO", "a number from 0 to 1", func(text string) (err error) {
		if cfg.ErrorRatio, err = strconv.ParseFloat(text, 64); err == nil && !(cfg.ErrorRatio >= 0 && cfg.ErrorRatio <= 1) {
			err = errors.New("out of range")
		}
		return err
	})
	read("LATENCY", "a duration such as 5ms", duration(&cfg.Latency))
	read("WORKERS", "a number above 0", func(text string) (err error) {
		if cfg.Workers, err = strconv.Atoi(text); err == nil && cfg.Workers < 1 {
			err = errors.New("out of range")
		}
		return err
	})
	read("DRAIN", "a duration such as 3s", duration(&cfg.Drain))
	return cfg, errors.Join(faults...)
}
