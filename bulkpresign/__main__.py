"""`python -m bulkpresign`."""

from bulkpresign.cli import main

if __name__ == "__main__":
    main()
