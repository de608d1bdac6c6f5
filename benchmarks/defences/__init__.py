"""False defences and honest models, to audit the audit with."""
