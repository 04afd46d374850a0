package slackapp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image/color"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/slack-go/slack"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	canvas "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/waybill-dev/waybill/signals"
)

// The chart's size in points, its margin, and its colours: canary, stable, bound.
// They differ in brightness, too, and the lines in dashes, for those who don't see
// colours.
const (
	chartWidth  vg.Length = 560
	chartHeight vg.Length = 280
	chartMargin vg.Length = 10
)

var (
	canaryColour = color.RGBA{R: 0xd9, G: 0x6c, B: 0x06, A: 0xff}
	stableColour = color.RGBA{R: 0x1f, G: 0x4e, B: 0x8c, A: 0xff}
	boundColour  = color.RGBA{R: 0x9b, G: 0x1c, B: 0x1c, A: 0xff}
	gridColour   = color.RGBA{R: 0xe3, G: 0xe6, B: 0xea, A: 0xff}
)

// chartName is the name of an event's chart as a file, by which it is found
// again in the thread.
func chartName(in signals.PublishInput, r signals.Reply) string {
	sum := sha256.Sum256([]byte(in.Announcement.Release + "\n" + in.Announcement.Run + "\n" + r.Event))
	return "waybill-" + hex.EncodeToString(sum[:8]) + ".png"
}

// draw renders a chart as PNG: canary against stable over the window's time.
func draw(c signals.Chart) ([]byte, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = plain(c.Title, 80) + ": " + string(c.Verdict)
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "seconds of the window"
	p.Y.Label.Text = plain(c.Unit, 40)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(2)
	for _, f := range []*font.Font{
		&p.Title.TextStyle.Font, &p.Legend.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font,
	} {
		f.Variant = "Sans"
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.Add(grid)

	start := c.Decided
	for _, track := range [][]signals.ChartPoint{c.Stable, c.Canary} {
		for _, point := range track {
			if point.At.Before(start) {
				start = point.At
			}
		}
	}
	end := max(c.Decided.Sub(start).Seconds(), 1)
	for _, track := range []struct {
		name   string
		points []signals.ChartPoint
		colour color.Color
		dashes []vg.Length
	}{
		{"stable", c.Stable, stableColour, []vg.Length{vg.Points(5), vg.Points(3)}},
		{"canary", c.Canary, canaryColour, nil},
	} {
		points := make(plotter.XYs, 0, len(track.points))
		for _, point := range track.points {
			if !math.IsNaN(point.Value) && !math.IsInf(point.Value, 0) {
				points = append(points, plotter.XY{X: point.At.Sub(start).Seconds(), Y: point.Value})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("chart %q, track %s: %w", c.Title, track.name, err)
		}
		line.Color, line.Width, line.Dashes = track.colour, vg.Points(1.6), track.dashes
		dots.Color, dots.Radius = track.colour, vg.Points(1.8)
		p.Add(line, dots)
		p.Legend.Add(track.name, line)
	}
	if c.Bound != nil && !math.IsNaN(*c.Bound) && !math.IsInf(*c.Bound, 0) {
		line, err := plotter.NewLine(plotter.XYs{{X: 0, Y: *c.Bound}, {X: end, Y: *c.Bound}})
		if err != nil {
			return nil, fmt.Errorf("chart %q, bound: %w", c.Title, err)
		}
		line.Color, line.Dashes = boundColour, []vg.Length{vg.Points(2), vg.Points(2)}
		p.Add(line)
		p.Legend.Add("bound", line)
	}
	p.X.Min, p.X.Max = 0, math.Max(p.X.Max, end)
	p.Y.Min = math.Min(p.Y.Min, 0)
	if p.Y.Max <= p.Y.Min {
		p.Y.Max = p.Y.Min + 1
	}
	// Room for the legend above the lines.
	p.Y.Max += (p.Y.Max - p.Y.Min) * 0.25

	picture := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, chartHeight), vgimg.UseBackgroundColor(color.White))}
	// Without a margin the letters of the title stand out over the picture's edge.
	p.Draw(canvas.Crop(canvas.New(picture), chartMargin, -chartMargin, chartMargin, -chartMargin))
	var png bytes.Buffer
	if _, err := picture.WriteTo(&png); err != nil {
		return nil, fmt.Errorf("chart %q: %w", c.Title, err)
	}
	return png.Bytes(), nil
}

// described says a chart for those who can't see it.
func described(c signals.Chart) string {
	return clip(fmt.Sprintf("%s, canary against stable: %s. Readings: %d of the canary, %d of stable.",
		cmp.Or(plain(c.Title, 80), "Check"), c.Verdict, len(c.Canary), len(c.Stable)), 900)
}

// methodUpload is the step of an upload that is no method of the Web API.
const methodUpload = "file upload"

// upload draws a reply's chart and shares it in the thread, with comment above.
func (m *Messenger) upload(ctx context.Context, at signals.MessageRef, in signals.PublishInput, r signals.Reply, comment string) error {
	png, err := draw(*r.Chart)
	if err != nil {
		return fault(methodUpload, in.Notify.Channel, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	name := chartName(in, r)
	slot, err := m.api.GetUploadURLExternalContext(ctx, slack.GetUploadURLExternalParameters{
		FileName: name, FileSize: len(png), AltTxt: described(*r.Chart),
	})
	if err != nil {
		return fault("files.getUploadURLExternal", in.Notify.Channel, err)
	}
	if err := m.api.UploadToURL(ctx, slack.UploadToURLParameters{UploadURL: slot.UploadURL, Reader: bytes.NewReader(png), Filename: name}); err != nil {
		return fault(methodUpload, in.Notify.Channel, err)
	}
	_, err = m.api.CompleteUploadExternalContext(ctx, slack.CompleteUploadExternalParameters{
		Files:   []slack.FileSummary{{ID: slot.FileID, Title: cmp.Or(plain(r.Chart.Title, 80), name)}},
		Channel: at.Channel, ThreadTimestamp: at.ID, InitialComment: comment,
	})
	return fault("files.completeUploadExternal", in.Notify.Channel, err)
}

// unsettled are Slack's answers that don't say whether something was done.
var unsettled = []string{"internal_error", "fatal_error", "service_unavailable", "request_timeout"}

// worthless reports whether trying an upload again is of no use, so that the
// chart's words are told without it.
func worthless(err error) bool {
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.after > 0 || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	if _, network := errors.AsType[*url.Error](err); network || strings.HasPrefix(failed.Code, "http_5") {
		return false
	}
	return !slices.Contains(unsettled, failed.Code)
}
