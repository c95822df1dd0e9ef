"""What kseg claims about speed, runnable: `make bench`, or each script by itself."""
