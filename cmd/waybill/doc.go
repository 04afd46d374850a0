// Command waybill is the client of CI, approvers, on-call and auditors. Releases
// go through the gateway's HTTP API; evidence is read from the bucket itself.
package main
