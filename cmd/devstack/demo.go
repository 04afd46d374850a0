package main

import "github.com/spf13/cobra"

func newDemoCommand(f *flags) *cobra.Command { return &cobra.Command{Use: "demo"} }
