"""What tests and the demo share: certificates, names, scripted peers, a stand-in homeserver, doors."""
