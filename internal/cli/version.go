package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/telemetry"
)

type versionOptions struct {
	streams *Streams
	output  outputFormat
	build   telemetry.Build
}

func newCmdVersion(s *Streams, runF func(*versionOptions) error) *cobra.Command {
	opts := &versionOptions{streams: s, build: telemetry.ReadBuild()}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print which program this is",
		Example: `  understudy version
  understudy version -o json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if runF != nil {
				return runF(opts)
			}
			return versionRun(opts)
		},
	}
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func versionRun(opts *versionOptions) error {
	b := opts.build
	if opts.output == outputJSON {
		return json.NewEncoder(opts.streams.Out).Encode(b)
	}
	parts := []string{b.Go, b.Platform}
	for _, optional := range []string{b.Revision, b.Time} {
		if optional != "" {
			parts = append(parts, optional)
		}
	}
	_, err := fmt.Fprintf(opts.streams.Out, "understudy %s (%s)\n", b.Version, strings.Join(parts, ", "))
	return err
}
