package analysis

import (
	"time"

	"github.com/waybill-dev/waybill/signals"
)

// MostReadings bounds the readings that are kept of one window: about 200 kB of
// JSON, so that they fit into a heartbeat and a record.
const MostReadings = 1200

// Thin keeps at most MostReadings by dropping every second look, as often as
// needed. The last look, on which the verdict rests, always stays. Readings are
// in the order in which they were taken; those of one look have the same time.
func Thin(readings []signals.Reading) []signals.Reading {
	for len(readings) > MostReadings {
		last := readings[len(readings)-1].At
		var kept []signals.Reading
		look, at := 0, time.Time{}
		for i, r := range readings {
			if i == 0 || !r.At.Equal(at) {
				look, at = look+1, r.At
			}
			if look%2 == 1 || r.At.Equal(last) {
				kept = append(kept, r)
			}
		}
		if len(kept) == len(readings) { // a single look larger than the bound
			return readings
		}
		readings = kept
	}
	return readings
}
