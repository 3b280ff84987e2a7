"""Little Faust apps that tests run as processes."""
