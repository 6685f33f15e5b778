package testnet_test

import (
	"fmt"

	"github.com/atview/atview/ingest/testnet"
)

func Example() {
	net, err := testnet.Start(testnet.Config{Seed: 1, PDSes: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer net.Close()

	// What is tested reads net.Firehose(), net.Jetstream(), net.PLC() …
	alice := net.NewAccount(0)
	alice.Commit(testnet.Create("com.example.post", "first", `{"text":"hello"}`))
	alice.Migrate(1)

	// … and has trouble.
	net.Faults.FailNext(testnet.RelayDrop, 1)
	alice.Commit(testnet.Update("com.example.post", "first", `{"text":"hello again"}`))

	for path, record := range net.Truth()[alice.DID()].Records {
		fmt.Printf("%s/%s %s\n", path.Collection, path.RKey, record.JSON)
	}
	fmt.Println("dropped:", net.Faults.Fired(testnet.RelayDrop))
	// Output:
	// com.example.post/first {"$type":"com.example.post","text":"hello again"}
	// dropped: 1
}
