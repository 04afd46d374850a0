// Package decide is the gateway's page where people decide after a fresh login
// at the identity provider: what a group of the quorum may demand, and what a
// click in a chat can't give. It is plain HTML from the server and needs no
// script. The page shows and signs; the release judges.
package decide
