"""The demonstration on handwritten digits. It needs the extra 'demo'."""
