// Command waybilld is Waybill's daemon. `waybilld worker` runs workflows and
// activities by role, `waybilld gateway` the HTTP API; each process holds only
// the credentials of its roles.
package main
