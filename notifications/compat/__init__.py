"""Ways in for sites that come from elsewhere, and keep their code and their clients."""
