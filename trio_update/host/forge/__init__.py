"""Forges (GitHub, Forgejo, Gitea, GitLab): releases, within the limits that they set."""
