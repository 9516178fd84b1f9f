"""The processes behind `carillon dev` and `serve`: a supervisor, its workers and two servers."""
