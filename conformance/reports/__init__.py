"""Reports for people: a page, a comparison of backends, JUnit XML and Markdown, all from one page model."""
