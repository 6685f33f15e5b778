package migrations

// Provider steps through the migrations one by one, back too.
var Provider = newProvider
