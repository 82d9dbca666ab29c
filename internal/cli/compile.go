package cli

import (
	"errors"
	"fmt"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/config"
)

// compiled passes cfg on if what it says of comparing can be obeyed, and else
// fails with [config.Errors] as validating it does. It lets an err of reading cfg
// pass. The file is named in errors; empty for flags.
func compiled(file string, cfg *config.Config, err error) (*config.Config, error) {
	if err != nil {
		return nil, err
	}
	var problems config.Errors
	for i := range cfg.Routes {
		for j := range cfg.Routes[i].Rules {
			mirrors := cfg.Routes[i].Rules[j].Mirrors
			for k := range mirrors {
				if mirrors[k].Layer4 {
					continue
				}
				_, err := compare.Compile(&mirrors[k].Compare)
				problems = append(problems, within(file, fmt.Sprintf("routes[%d].rules[%d].mirrors[%d].compare", i, j, k), err)...)
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}

// within names the place in a configuration that err, which may be nil, is about.
func within(file, place string, err error) config.Errors {
	var problems config.Errors
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &problems):
		return config.Errors{{File: file, Path: place, Message: err.Error()}}
	}
	for i := range problems {
		problems[i].File = file
		problems[i].Path = place + "." + problems[i].Path
	}
	return problems
}
