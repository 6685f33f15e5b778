// Atview is the AppView framework's one binary: it wires sources, log, index
// and API together by what its command and settings say, and holds no logic of
// their own. `atview help` lists the commands.
package main
