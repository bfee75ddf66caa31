"""Networks, and where they are cut: a front that stays with the client and a back that the server holds."""
