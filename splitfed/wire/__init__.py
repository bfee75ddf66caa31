"""The wire between clients and the server, and the tap on it; knows neither federation nor attacks."""
