package sigtest

import (
	"context"

	"github.com/waybill-dev/waybill/internal/testtools"
)

// Installed returns the cosign that the repository around the working directory
// pins, and builds it first if that has not been done yet, which takes minutes.
func Installed(ctx context.Context) (Cosign, error) {
	path, err := testtools.Tool(ctx, "cosign")
	return Cosign{Path: path}, err
}
