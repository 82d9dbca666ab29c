// Command understudy copies live HTTP traffic to a shadow version of a service.
package main

import (
	"context"
	"os"

	"github.com/understudy-proxy/understudy/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System()))
}
