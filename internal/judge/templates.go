package judge

// Templates name the endpoints that requests belong to: those that were given,
// and those that are learned from paths. As JSON they can be resumed. Make them by
// [NewTemplates]; one goroutine uses them.
type Templates struct{}

// NewTemplates returns templates with the given ones, as /users/{id} and
// /files/{path...}, or an error that names the one that is wrong: endpoints[2]: ….
func NewTemplates(given []string) (*Templates, error) { return &Templates{}, nil }

// Endpoint returns METHOD /template for a request, and learns from it if the
// primary answered it with a status other than 400 and 404.
func (t *Templates) Endpoint(method, path string, status int) string { return method + " " + path }

// Renamed returns which endpoints have become others since it was last called, as
// templates were learned: old names to new ones. Who keeps something by endpoint
// merges it.
func (t *Templates) Renamed() map[string]string { return nil }

// Merge adds what other templates, of the same given ones, have learned.
func (t *Templates) Merge(other *Templates) {}
