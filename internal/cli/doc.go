// Package cli is the command line: each command is an options struct that
// flags fill and a function that runs it, so that flags are tested without
// running and running without flags.
//
// What a command prints for others to read goes to standard output, everything
// else to standard error. Exit codes are a contract: see [ExitSuccess] and its
// neighbours.
package cli
