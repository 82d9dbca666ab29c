package sqlite

import "errors"

// errTaken is returned by lock if another process has it.
var errTaken = errors.New("its lock is taken")
