// Package api is the gateway's HTTP API. It authenticates who asks, signs what
// they ask for with the gateway's key, and hands it to Temporal; it decides
// nothing about releases itself, except who may command one.
package api
