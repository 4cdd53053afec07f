"""What the web apps share: CSP, CSRF, sessions, pages."""
