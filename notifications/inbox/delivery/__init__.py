"""What reaches people elsewhere than in the inbox, if they have not seen it there by then."""
