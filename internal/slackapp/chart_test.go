package slackapp

import (
	"bytes"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChartKeepsItsLettersInside looks at the picture's edge: whatever is drawn
// there is cut off in part.
func TestChartKeepsItsLettersInside(t *testing.T) {
	c := aChart()
	c.Title = "errors of the (payments-api) gateway, Ägypten"
	raw, err := draw(*c)
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	edge := picture.Bounds()
	for x := edge.Min.X; x < edge.Max.X; x++ {
		for y := edge.Min.Y; y < edge.Max.Y; y++ {
			if x == edge.Min.X || y == edge.Min.Y || x == edge.Max.X-1 || y == edge.Max.Y-1 {
				require.Equalf(t, color.White, color.Gray16Model.Convert(picture.At(x, y)), "at %d, %d", x, y)
			}
		}
	}
}
