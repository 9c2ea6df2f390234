// Kubernetes' own e2e tests of the network (k8s.io/kubernetes/test/e2e/network) as one test binary. Owns no test: it registers
// upstream's flags and sources, runs them, and appends one line of JSON a finished spec to the file that POSTERN_RESULTS names,
// so that a run can be followed, also while several processes share it, and one that broke off is known up to there.
package e2e

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"k8s.io/kubernetes/test/e2e"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	_ "k8s.io/kubernetes/test/e2e/network"
	e2etestingmanifests "k8s.io/kubernetes/test/e2e/testing-manifests"
)

func TestMain(m *testing.M) {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	testfiles.AddFileSource(e2etestingmanifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	os.Exit(m.Run())
}

func TestE2E(t *testing.T) {
	// Not at top level: AfterReadingAllFlags previews all specs, for which that would be called, and never again.
	ginkgo.ReportAfterEach(appendResult)
	e2e.RunE2ETests(t)
}

// Read by ../results.ts.
type result struct {
	Name    string  `json:"name"`
	State   string  `json:"state"`
	Seconds float64 `json:"seconds"`
	// Why it failed or skipped itself.
	Message string `json:"message"`
}

func appendResult(report ginkgo.SpecReport) {
	// What focus and skip leave out is reported too: as skipped, without a reason.
	if report.State == types.SpecStateSkipped && report.Failure.IsZero() {
		return
	}
	line, err := json.Marshal(result{report.FullText(), report.State.String(), report.RunTime.Seconds(), report.FailureMessage()})
	framework.ExpectNoError(err)
	file, err := os.OpenFile(os.Getenv("POSTERN_RESULTS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	framework.ExpectNoError(err)
	defer func() { _ = file.Close() }()
	_, err = file.Write(append(line, '\n'))
	framework.ExpectNoError(err)
}
