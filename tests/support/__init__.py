"""What tests of several folders share: machines to compare, a browser, recorded runs, marks."""
