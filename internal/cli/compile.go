package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/redact"
)

// compiled passes cfg on if what it says of comparing and redacting can be obeyed, and else
// fails with [config.Errors] as validating it does. It lets an err of reading cfg
// pass. The file is named in errors; empty for flags.
func compiled(file string, cfg *config.Config, err error) (*config.Config, error) {
	if err != nil {
		return nil, err
	}
	_, err = redact.New(cfg.Redact)
	problems := within(file, "redact", err)
	for i := range cfg.Routes {
		for j := range cfg.Routes[i].Rules {
			mirrors := cfg.Routes[i].Rules[j].Mirrors
			for k := range mirrors {
				if mirrors[k].Layer4 {
					continue
				}
				_, err := analyze.Rules(&mirrors[k].Compare)
				problems = append(problems, within(file, fmt.Sprintf("routes[%d].rules[%d].mirrors[%d].compare", i, j, k), err)...)
			}
		}
	}
	if len(problems) > 0 {
		if document, err := os.ReadFile(file); err == nil { // standard input was read, and flags are no file
			problems.Locate(document)
		}
		return nil, problems
	}
	return cfg, nil
}

// within names the place in a configuration that err, which may be nil, is about;
// some name it themselves.
func within(file, place string, err error) config.Errors {
	var problems config.Errors
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &problems):
		path, message, found := strings.Cut(err.Error(), ": ")
		if !found || !strings.HasPrefix(path, place+".") {
			path, message = place, err.Error()
		}
		return config.Errors{{File: file, Path: path, Message: message}}
	}
	for i := range problems {
		problems[i].File = file
		problems[i].Path = strings.TrimSuffix(place+"."+problems[i].Path, ".")
	}
	return problems
}
