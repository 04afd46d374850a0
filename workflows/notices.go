package workflows

import "github.com/waybill-dev/waybill/signals"

// notices is what people are still to be told of a release.
type notices struct {
	replies []signals.Reply
}

// tell queues one event for those who follow the release.
func (r *release) tell(reply signals.Reply) {
	r.notices.replies = append(r.notices.replies, reply)
}
