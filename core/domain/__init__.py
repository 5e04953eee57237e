"""What goes over the wire, as values. The ground floor: it imports no other room."""
