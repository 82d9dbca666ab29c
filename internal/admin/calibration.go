package admin

import (
	"errors"
	"net/http"

	"github.com/understudy-proxy/understudy/internal/analyze"
)

// Calibrator measures what shadows of the primary's own version do. All methods
// are called from many goroutines.
type Calibrator interface {
	// Calibrate ends a measurement that began with the last Reset; see
	// [analyze.Pipeline.Calibrate].
	Calibrate(mirror string) ([]analyze.Calibration, error)
	Uncalibrate(mirror string) error
}

// Calibrations is what POST /api/v1/calibration answers.
type Calibrations struct {
	Calibrations []analyze.Calibration `json:"calibrations" doc:"What verdicts allow for from now on."`
}

// calibrationEndpoints are about shadows of the primary's own version.
func (s *Server) calibrationEndpoints() []*endpoint {
	return []*endpoint{
		{path: "/api/v1/calibration", method: http.MethodPost, answer: s.comparing(s.calibrate), parameters: []parameter{mirrorParameter}, schema: Calibrations{},
			summary: "Declare that since the last reset the shadow was of the primary's version; verdicts allow for what was measured. 409 if that is too little."},
		{path: "/api/v1/calibration/reset", method: http.MethodPost, answer: s.comparing(s.uncalibrate), parameters: []parameter{mirrorParameter}, schema: ResetDone{},
			summary: "Forget calibrations; verdicts begin anew."},
	}
}

func (s *Server) calibrate(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	if !only(w, r, report) {
		return
	}
	measured, err := s.options.Calibrator.Calibrate(r.URL.Query().Get(mirrorParameter.name))
	switch {
	case errors.Is(err, analyze.ErrTooFew):
		fail(w, http.StatusConflict, err.Error(), "wait for more requests")
	case errors.Is(err, analyze.ErrNoMirror):
		fail(w, http.StatusNotFound, err.Error(), "/api/v1/report lists those that do")
	case err != nil:
		fail(w, http.StatusInternalServerError, err.Error(), "")
	default:
		writeJSON(w, http.StatusOK, Calibrations{measured})
	}
}

func (s *Server) uncalibrate(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	if !only(w, r, report) {
		return
	}
	if err := s.options.Calibrator.Uncalibrate(r.URL.Query().Get(mirrorParameter.name)); err != nil {
		fail(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	done := ResetDone{Mirrors: []string{}}
	for i := range report.Mirrors {
		if report.Mirrors[i].Calibration != nil {
			done.Mirrors = append(done.Mirrors, report.Mirrors[i].Mirror)
		}
	}
	writeJSON(w, http.StatusOK, done)
}
