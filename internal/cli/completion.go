package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func newCmdCompletion(s *Streams) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print the script that completes commands in a shell",
		Example: `  # In this shell
  source <(understudy completion bash)

  # In every shell
  understudy completion bash > /etc/bash_completion.d/understudy
  understudy completion zsh > "${fpath[1]}/_understudy"
  understudy completion fish > ~/.config/fish/completions/understudy.fish`,
		ValidArgs:             shells,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one shell: %s", strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(s.Out, true)
			case "zsh":
				return root.GenZshCompletion(s.Out)
			case "fish":
				return root.GenFishCompletion(s.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(s.Out)
			}
			return usagef("%q is none of %s", args[0], strings.Join(shells, ", "))
		},
	}
}
