// Package activities holds what Waybill does to the world, by role: Release
// resolves, verifies and decides; Lanes talks to lanes; Deploy changes one
// cluster and watches it; Notary writes evidence. Each is a struct that the
// daemon fills with adapters behind the small interfaces declared here. No
// provider's SDK is imported.
package activities
