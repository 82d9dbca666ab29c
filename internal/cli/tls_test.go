package cli

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/test/certs"
)
