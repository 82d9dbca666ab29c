package telemetry

import (
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildSaysWhatTheGoCommandRecorded(t *testing.T) {
	t.Parallel()
	info := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	tests := map[string]struct {
		start Build
		info  *debug.BuildInfo
		want  Build
	}{
		"installed by version": {
			info: info("v1.2.3"), want: Build{Version: "v1.2.3"}},
		"built in a clean checkout": {
			info: info("(devel)", debug.BuildSetting{Key: "vcs.revision", Value: "abc"}, debug.BuildSetting{Key: "vcs.modified", Value: "false"},
				debug.BuildSetting{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}),
			want: Build{Revision: "abc", Time: "2026-01-02T03:04:05Z"}},
		"built in a changed checkout": {
			info: info("(devel)", debug.BuildSetting{Key: "vcs.modified", Value: "true"}, debug.BuildSetting{Key: "vcs.revision", Value: "abc"}),
			want: Build{Revision: "abc-dirty"}},
		"the linker's version wins": {
			start: Build{Version: "v9"}, info: info("v1.2.3"), want: Build{Version: "v9"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.start
			got.read(tt.info)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildAlwaysHasAVersion(t *testing.T) {
	t.Parallel()
	b := ReadBuild()
	if b.Version == "" || b.Go == "" || b.Platform == "" {
		t.Errorf("ReadBuild() = %+v, with an empty version, go or platform", b)
	}
}
