// Package directory asks the company's directory who somebody is: a SCIM 2.0
// client (RFC 7643, RFC 7644) that finds a person by e-mail address or by the
// subject that the identity provider knows them as. Answers are remembered for a
// short time, so that what the directory says now counts and a burst of clicks
// still asks once.
package directory
