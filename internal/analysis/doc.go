// Package analysis judges the SLO checks of a watched window. It is pure: what
// was measured comes in, verdicts come out, and the same readings always give
// the same verdict. No data is never a pass.
//
// # Which data a look sees
//
// {{.Window}} is the range that a query looks back over. It starts with two
// intervals, the least that a rate can be taken over, and grows with the time
// that the window has run, so that no look reaches back before the warm-up's end
// and data of an earlier weight is never judged. It stops growing at ten
// intervals, so that late in a long window a burst of errors is not diluted by
// hours of good answers: an error ratio ten times over its bound fails at the
// first look that sees it. Where ten intervals hold too few samples the range is
// doubled, look by look, until they suffice or the whole window is looked at.
package analysis

// Method names how verdicts are computed, for whoever computes them again.
const Method = "absolute threshold and comparison with stable, v1"
