// Package redact replaces what is secret in exchanges by tokens, before anything
// is compared, stored or shown. A token is keyed and deterministic: the same
// value has the same token wherever it is found, so that equality can still be
// tested, and without the key nobody can try values.
//
// Values are found by the names that they go by, and some by their looks. The
// scanners take bytes as they come: a body that is broken, or was cut, is
// redacted as far as it goes, and what cannot be looked into is replaced whole.
package redact
