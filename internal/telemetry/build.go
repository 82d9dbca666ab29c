package telemetry

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker for releases (-X …/telemetry.version=v1.2.3);
// otherwise the module version that the go command recorded is used.
var version string

// Build says which program this is. Fields that the build did not record are
// empty, except Version, which is then "dev".
type Build struct {
	Version  string `json:"version"`  // semantic version or "dev"
	Revision string `json:"revision"` // commit, with "-dirty" if the tree was changed
	Time     string `json:"time"`     // of the commit, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/arch
}

// ReadBuild returns what the go command recorded in this binary.
func ReadBuild() Build {
	b := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		b.read(info)
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func (b *Build) read(info *debug.BuildInfo) {
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && b.Revision != "" {
		b.Revision += "-dirty"
	}
}
