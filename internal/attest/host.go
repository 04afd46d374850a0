package attest

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

// HostFacts are what the code host knows of a change and Git does not.
type HostFacts struct {
	// Merger put the change onto the branch, Pushers opened it or pushed it,
	// Reviewers approved it.
	Merger    *signals.Contributor
	Pushers   []signals.Contributor
	Reviewers []signals.Contributor
	// Commit is what Merger and Pushers were told about, "" for whatever ships.
	Commit string
}

// of is what is known of the commit.
func (h HostFacts) of(commit string) HostFacts {
	if h.Commit != "" && h.Commit != commit {
		return HostFacts{Reviewers: h.Reviewers}
	}
	return h
}

// account is a user as GitHub's API and events write one.
type account struct {
	Login string `json:"login"`
}

// gitHubEvent is the part of a workflow's event that is read.
type gitHubEvent struct {
	After  string `json:"after"`
	Pusher *struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"pusher"`
	PullRequest *struct {
		User           account  `json:"user"`
		MergedBy       *account `json:"merged_by"`
		MergeCommitSHA string   `json:"merge_commit_sha"`
	} `json:"pull_request"`
}

// GitHubEvent reads the event that started a GitHub Actions workflow, the file
// $GITHUB_EVENT_PATH: who pushed to the branch, or who opened and who merged the
// pull request. Events of other kinds tell nothing, which is no error.
func GitHubEvent(path string) (HostFacts, error) {
	var e gitHubEvent
	if err := readJSON(path, &e); err != nil {
		return HostFacts{}, fmt.Errorf("GitHub event: %w", err)
	}
	var facts HostFacts
	switch {
	case e.PullRequest != nil && e.PullRequest.MergedBy != nil && e.PullRequest.MergedBy.Login != "":
		facts.Commit = e.PullRequest.MergeCommitSHA
		facts.Merger = &signals.Contributor{Login: e.PullRequest.MergedBy.Login}
		if e.PullRequest.User.Login != "" {
			facts.Pushers = []signals.Contributor{{Login: e.PullRequest.User.Login}}
		}
	case e.Pusher != nil && e.Pusher.Name != "":
		facts.Commit = e.After
		facts.Merger = &signals.Contributor{Login: e.Pusher.Name, Email: e.Pusher.Email}
	}
	return facts, nil
}

// GitHubReviews reads who approved a pull request, from a file with the answer
// of GitHub's API to GET /repos/{owner}/{repo}/pulls/{number}/reviews.
func GitHubReviews(path string) ([]signals.Contributor, error) {
	var reviews []struct {
		User  account `json:"user"`
		State string  `json:"state"`
	}
	if err := readJSON(path, &reviews); err != nil {
		return nil, fmt.Errorf("reviews: %w", err)
	}
	var found []signals.Contributor
	for _, review := range reviews {
		if review.State == "APPROVED" && review.User.Login != "" {
			found = append(found, signals.Contributor{Login: review.User.Login})
		}
	}
	return catalog.MergeContributors(found), nil
}

// maxJSONBytes bounds what is read of a file that others wrote.
const maxJSONBytes = 32 << 20

func readJSON(path string, into any) error {
	content, err := readFile(path, maxJSONBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s is %d bytes; at most %d are read", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}
